//! Puts the functions of a WebAssembly module into an order in which it compresses well.
//!
//! gzip knows the last 32 kB, and the tool that writes the module sorts its functions by
//! their size. Side by side by their names, those of one generic function find each other.

use anyhow::{Context as _, Result, ensure};
use wasm_encoder::{
    CodeSection, FunctionSection, Module,
    reencode::{Error, Reencode, utils},
};
use wasmparser::{
    CodeSectionReader, CustomSectionReader, FunctionBody, FunctionSectionReader,
    KnownCustom, Name, NameSectionReader, Parser, Payload, TypeRef,
};

/// The same module with its functions in the order of their names, and without the names.
///
/// # Errors
/// Where it is no module.
pub fn by_name(module: &[u8]) -> Result<Vec<u8>> {
    let read = Read::of(module).context("the module of the labs cannot be read")?;
    let count = read.sizes.len();
    let mut order: Vec<usize> = (0..count).collect();
    let key = |i: usize| {
        // Without the hash behind the name, which is that of one compilation.
        let name = read.names[i].rsplit_once("::h").map_or(read.names[i], |(name, _)| name);
        (name.trim_start_matches(['<', '&', '*']), read.sizes[i], i)
    };
    order.sort_by_key(|&i| key(i));
    let mut places = vec![0; count];
    order.iter().enumerate().for_each(|(place, &i)| places[i] = place);
    let mut sorted = Module::new();
    Sorted { imported: read.imported, order, places }
        .parse_core_module(&mut sorted, Parser::new(0), module)
        .map_err(|error| {
            anyhow::anyhow!("the module of the labs cannot be written: {error}")
        })?;
    Ok(sorted.finish())
}

/// What the order depends on.
struct Read<'a> {
    /// Functions that the module imports; their numbers come first.
    imported: usize,
    /// Of each function of its own, the name and the bytes.
    names: Vec<&'a str>,
    sizes: Vec<usize>,
}

impl<'a> Read<'a> {
    fn of(module: &'a [u8]) -> Result<Self> {
        let (mut imported, mut sizes, mut named) = (0, Vec::new(), Vec::new());
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        imported += usize::from(matches!(import?.ty, TypeRef::Func(_)));
                    }
                }
                Payload::CodeSectionEntry(body) => sizes.push(body.range().len()),
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(names) = section.as_known() {
                        named = function_names(names)?;
                    }
                }
                _ => {}
            }
        }
        let mut names = vec![""; sizes.len()];
        for (i, name) in named {
            let own = i.checked_sub(imported);
            let place = own.and_then(|own| names.get_mut(own));
            if let Some(place) = place {
                *place = name;
            }
        }
        ensure!(
            sizes.is_empty() || names.iter().any(|name| !name.is_empty()),
            "it has no names"
        );
        Ok(Self { imported, names, sizes })
    }
}

fn function_names(sections: NameSectionReader<'_>) -> Result<Vec<(usize, &str)>> {
    let mut named = Vec::new();
    for section in sections {
        if let Name::Function(names) = section? {
            for naming in names {
                let naming = naming?;
                named.push((naming.index as usize, naming.name));
            }
        }
    }
    Ok(named)
}

/// Writes the module again.
struct Sorted {
    imported: usize,
    /// Which function comes at each place, and which place each function gets.
    order: Vec<usize>,
    places: Vec<usize>,
}

type Done = Result<(), Error<std::convert::Infallible>>;

impl Reencode for Sorted {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<Self::Error>> {
        let own = (function as usize).checked_sub(self.imported);
        let place = own.and_then(|own| self.places.get(own));
        Ok(place.map_or(function, |place| (self.imported + place) as u32))
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Done {
        let types = section.into_iter().collect::<Result<Vec<u32>, _>>()?;
        for &i in &self.order {
            functions.function(types[i]);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Done {
        let bodies = section.into_iter().collect::<Result<Vec<FunctionBody>, _>>()?;
        for i in self.order.clone() {
            self.parse_function_body(code, bodies[i].clone())?;
        }
        Ok(())
    }

    fn parse_custom_section(
        &mut self,
        module: &mut Module,
        section: CustomSectionReader<'_>,
    ) -> Done {
        match section.as_known() {
            KnownCustom::Name(_) => Ok(()),
            _ => utils::parse_custom_section(self, module, section),
        }
    }
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        ConstExpr, ElementSection, Elements, EntityType, ExportKind, ExportSection,
        Function, ImportSection, NameMap, NameSection, RefType, TableSection, TableType,
        TypeSection,
    };

    use super::*;

    /// Imports one function, and has three of its own: `z` gives 1, `m` gives 2 more than `z`,
    /// and `a` what `m` gives. `z` is exported, and the table holds `z` and `a`.
    fn module() -> Vec<u8> {
        let mut module = Module::new();
        let mut types = TypeSection::new();
        types.ty().function([], [wasm_encoder::ValType::I32]);
        types.ty().function([], []);
        module.section(&types);
        let mut imports = ImportSection::new();
        imports.import("page", "hears", EntityType::Function(1));
        module.section(&imports);
        let mut functions = FunctionSection::new();
        functions.function(0).function(0).function(0);
        module.section(&functions);
        let mut tables = TableSection::new();
        tables.table(TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: 2,
            maximum: None,
            shared: false,
        });
        module.section(&tables);
        let mut exports = ExportSection::new();
        exports.export("z", ExportKind::Func, 1);
        module.section(&exports);
        let mut elements = ElementSection::new();
        let held = Elements::Functions([1, 3].as_slice().into());
        elements.active(None, &ConstExpr::i32_const(0), held);
        module.section(&elements);
        let mut code = CodeSection::new();
        let mut z = Function::new([]);
        z.instructions().i32_const(1).end();
        let mut m = Function::new([]);
        m.instructions().call(0).call(1).i32_const(2).i32_add().end();
        let mut a = Function::new([]);
        a.instructions().call(2).end();
        code.function(&z).function(&m).function(&a);
        module.section(&code);
        let (mut names, mut map) = (NameSection::new(), NameMap::new());
        map.append(0, "hears");
        map.append(1, "z::h0123456789abcdef");
        map.append(2, "m::h0000000000000000");
        map.append(3, "<a as b>");
        names.functions(&map);
        module.section(&names);
        module.finish()
    }

    #[test]
    fn functions_stand_in_the_order_of_their_names_and_are_called_there() {
        let sorted = by_name(&module()).expect("a module");
        let (mut bodies, mut exported, mut held) = (Vec::new(), Vec::new(), Vec::new());
        for payload in Parser::new(0).parse_all(&sorted) {
            match payload.expect("a section") {
                Payload::CodeSectionEntry(body) => {
                    let operators = body.get_operators_reader().expect("operators");
                    let words =
                        operators.into_iter().map(|o| format!("{:?}", o.expect("one")));
                    bodies.push(words.collect::<Vec<_>>().join(" "));
                }
                Payload::ExportSection(exports) => {
                    exported.extend(exports.into_iter().map(|e| e.expect("one").index));
                }
                Payload::ElementSection(elements) => {
                    for element in elements {
                        let wasmparser::ElementItems::Functions(functions) =
                            element.expect("one").items
                        else {
                            panic!("functions were put in");
                        };
                        held.extend(functions.into_iter().map(|f| f.expect("one")));
                    }
                }
                Payload::CustomSection(section) => panic!("{} is left", section.name()),
                _ => {}
            }
        }
        assert_eq!(
            bodies,
            [
                "Call { function_index: 2 } End",
                "Call { function_index: 0 } Call { function_index: 3 } I32Const { value: 2 } I32Add End",
                "I32Const { value: 1 } End",
            ]
        );
        assert_eq!((exported, held), (vec![3], vec![3, 1]));
    }

    #[test]
    fn what_is_no_module_is_refused() {
        assert!(by_name(b"not a module").is_err());
    }
}
